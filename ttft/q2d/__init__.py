"""q2d: questions -> dialogs -> a model that writes the search query of a dialog.

"q2d: Turning Questions into Dialogs to Teach Models How to Search", Bitton et al., EMNLP 2023 (arXiv 2304.14318).

    questions -> generate -> filter -> train -> evaluate;  a dialog -> rewrite -> a query to retrieve with
"""

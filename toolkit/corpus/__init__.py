"""What is studied: the manifest, its labels, the folds that keep speakers apart, windows of long recordings."""

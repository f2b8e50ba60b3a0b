"""What every room needs: errors, artifacts, seeds, progress, languages, Ray. Imports nothing of ours."""

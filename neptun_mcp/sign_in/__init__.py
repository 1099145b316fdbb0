"""The authorization server: people sign in to Neptun with a browser. It knows nothing of `serving`, which guards it."""

"""The authorization server: people sign in to Neptun with a browser."""

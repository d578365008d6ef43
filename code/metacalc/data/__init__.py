"""Real data: characters, the words of languages, ratings of food. Each module loads when it is imported."""

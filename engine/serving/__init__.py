"""What a finished run answers: items for users, ratings to expect, users alike."""

"""Published methods to compare with, written from their papers; see each file."""

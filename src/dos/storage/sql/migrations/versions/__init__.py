"""The migrations, oldest first by their number. One that was released is never changed."""

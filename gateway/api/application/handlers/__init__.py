"""What each call of the application door does: from form to scenario and back."""

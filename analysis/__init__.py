"""What a trained run, or plain arrays of images, are worth."""

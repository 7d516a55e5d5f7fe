"""What is told of a trained model beyond its bound."""

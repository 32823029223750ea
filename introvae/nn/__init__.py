"""Networks: encoder, decoder, their blocks and normalization."""

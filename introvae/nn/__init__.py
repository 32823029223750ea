"""Networks: encoder, decoder, their blocks and normalization, and formats of other tools."""

"""GaitNet: gait disentangled from appearance by an autoencoder, and identity from the gait codes by an LSTM."""

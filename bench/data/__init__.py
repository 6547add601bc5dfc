"""Text to batches: ``corpora`` (documents), ``tokenizers`` (token ids), ``batches`` (windows)."""

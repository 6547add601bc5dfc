"""From a study directory to what people read: one HTML page, figures, LaTeX tables and macros."""

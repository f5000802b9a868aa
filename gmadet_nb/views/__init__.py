"""What a person sees: figures and widgets."""

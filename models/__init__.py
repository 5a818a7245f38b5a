"""Recurrent networks on torch alone: cells, layers over time, inputs, heads. Import what you need from its module."""

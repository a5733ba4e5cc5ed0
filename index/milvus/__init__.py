"""An index in Milvus, for searches from many machines: filled from a catalogue, searched without one."""

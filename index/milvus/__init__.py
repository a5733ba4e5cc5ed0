"""An index in Milvus, for searches from many machines: copied from a catalogue, or filled without one."""

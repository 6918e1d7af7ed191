"""What the layouts of several datasets share: files and archives, walks and who takes part, people seen from many sides."""

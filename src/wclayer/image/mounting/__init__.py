"""Images as folders of this machine: mounted by FUSE, changed over an upper folder, and committed as a layer."""

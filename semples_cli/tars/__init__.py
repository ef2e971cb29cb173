"""Files inside tar files, named by a path that leads through the tar: `shards/train-000.tar/cat/1.jpg`."""

-- A module for Lmod: put it at <modules>/imagenetfs/1.0.lua. The environment is at /opt/imagenetfs:
--     python3 -m venv /opt/imagenetfs && /opt/imagenetfs/bin/pip install .
--     mkdir /opt/imagenetfs/command && ln -s ../bin/imagenetfs /opt/imagenetfs/command/

help([[
ImageNet straight from its archives:
    imagenetfs run -- python train.py --data {mnt}/ILSVRC2012
]])
whatis("Name: imagenetfs")
whatis("Description: mounts ImageNet's archives as version/split/class/image")

-- The command alone: the environment's own python would take the place of the user's.
prepend_path("PATH", "/opt/imagenetfs/command")
setenv("IMAGENETFS_SOURCE", "/datashare/imagenet")

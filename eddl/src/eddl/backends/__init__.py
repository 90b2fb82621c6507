"""The kinds of device that run programs: each a folder that fulfils `eddl.compiler.Backend`."""

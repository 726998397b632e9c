"""Media files (sound, pictures, frames of video) as rows: decoded when they are read, to arrays of one shape."""

package chromium

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, mode))
		return path
	}

	_, err := find("", "first", "second")
	require.ErrorContains(t, err, "install it")
	require.ErrorContains(t, err, Off+"=off")

	second := program("second", 0o755)
	path, err := find("", "first", "second")
	require.NoError(t, err)
	require.Equal(t, second, path)

	own := program("own", 0o755)
	for _, named := range []string{"own", own} {
		path, err = find(named, "first", "second")
		require.NoError(t, err)
		require.Equal(t, own, path)
	}

	// One that was named and cannot be run is not replaced by another.
	_, err = find("none", "first", "second")
	require.ErrorContains(t, err, Named+"=none names a browser that cannot be run")
	_, err = find("/nonexistent", "first", "second")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = find(program("data", 0o644), "first", "second")
	require.ErrorIs(t, err, fs.ErrPermission)
}

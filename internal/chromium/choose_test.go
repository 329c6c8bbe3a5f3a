package chromium

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// program makes an executable file, or one that is none.
func program(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, nil, mode))
	return path
}

// A bare machine passes the tests and says what it left out, unless somebody
// counts on the browser.
func TestChooseWithoutABrowser(t *testing.T) {
	t.Setenv("PATH", t.TempDir())

	path, skip, err := choose("", "", "first", "second")
	require.NoError(t, err)
	require.Empty(t, path)
	require.Contains(t, skip, "to run this test install Chromium")

	_, skip, err = choose("required", "", "first", "second")
	require.ErrorContains(t, err, "install Chromium")
	require.Empty(t, skip)
}

func TestChoose(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	second := program(t, dir, "second", 0o755)
	own := program(t, dir, "own", 0o755)

	for _, wanted := range []string{"", "required"} {
		path, skip, err := choose(wanted, "", "first", "second")
		require.NoError(t, err)
		require.Empty(t, skip)
		require.Equal(t, second, path)

		for _, named := range []string{"own", own} {
			path, skip, err = choose(wanted, named, "first", "second")
			require.NoError(t, err)
			require.Empty(t, skip)
			require.Equal(t, own, path)
		}
	}

	_, skip, err := choose("off", "own", "second")
	require.NoError(t, err)
	require.Equal(t, "skipped because of PUBSUB_BROWSER=off", skip)

	_, _, err = choose("on", "own", "second")
	require.ErrorContains(t, err, "PUBSUB_BROWSER=on: use required or off")
}

// One that was named and cannot be run is not replaced by another, nor is the
// test skipped.
func TestChooseNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program(t, dir, "usual", 0o755)

	_, skip, err := choose("", "none", "usual")
	require.ErrorContains(t, err, Named+"=none names a browser that cannot be run")
	require.Empty(t, skip)
	_, _, err = choose("", "/nonexistent", "usual")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, _, err = choose("", program(t, dir, "data", 0o644), "usual")
	require.ErrorIs(t, err, fs.ErrPermission)
}

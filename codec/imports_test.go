package codec_test

import (
	"go/build"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Package codec must cost its users no dependency.
func TestImportsStandardLibraryOnly(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	require.Contains(t, pkg.Imports, "github.com/topicbus/pubsub")
	for _, path := range pkg.Imports {
		host, _, _ := strings.Cut(path, "/")
		if path != "github.com/topicbus/pubsub" {
			require.NotContains(t, host, ".", "%s is not in the standard library", path)
		}
	}
}

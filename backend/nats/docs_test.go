package nats_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocs: the blocks of Go in docs/nats.md stand in example_test.go too, where
// they are compiled.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/nats.md")
	if _, alone := os.Stat("../../doc.go"); os.IsNotExist(alone) {
		t.Skip("docs/nats.md is not part of this module: run this test in the repository")
	}
	require.NoError(t, err)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	plain := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	blocks := regexp.MustCompile("(?ms)^``` go\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		assert.Contains(t, plain(string(source)), plain(b[1]))
	}
	assert.NotContains(t, string(page), "```go\n", "the main module cannot compile it")
	for option := range strings.SplitSeq("WithCredentialsFile WithUserPassword WithToken WithNKeySeedFile WithTLS WithName WithPrefix WithDomain WithStorage WithReplicas WithMaxMessages WithMaxBytes WithMaxAge WithStreamConfig WithoutCreation WithBackoff WithStallTimeout WithPublishTimeout WithSubscribeTimeout WithLogger", " ") {
		assert.Contains(t, string(page), "`"+option+"`")
	}
}

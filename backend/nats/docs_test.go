package nats_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The blocks of Go in docs/nats.md and docs/migrating.md that need nats.go stand
// in tests of this package too, where they are compiled.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/nats.md")
	if _, alone := os.Stat("../../doc.go"); os.IsNotExist(alone) {
		t.Skip("docs/nats.md is not part of this module: run this test in the repository")
	}
	require.NoError(t, err)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	plain := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	_, before, _ := strings.Cut(read(t, "../../docs/migrating.md"), "~~~ go\n")
	before, _, _ = strings.Cut(before, "~~~")
	imports, body, found := strings.Cut(before, "func run")
	require.True(t, found)
	assert.Contains(t, plain(read(t, "before_test.go")), plain(imports))
	assert.Contains(t, plain(read(t, "before_test.go")), plain("func run"+body))
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

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

package faults_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
)

// TestDocument fails if docs/faults.md was not written anew after rows came,
// went or were renamed, or after the SDK was updated:
//
//	go run ./backend/momento/faults/cmd/faultsdoc
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/faults.md")
	require.NoError(t, err)
	rest := string(doc)
	for _, row := range matrix.Rows(true) {
		_, after, found := strings.Cut(rest, "\n| "+row.Name+" | ")
		require.True(t, found, "docs/faults.md lacks the row %q, or has it elsewhere", row.ID())
		rest = after
	}
	_, rest, found := strings.Cut(rest, "\n| the service | worst second | later, a second |\n|---|---|---|")
	require.True(t, found, "docs/faults.md lacks the table of rates")
	for _, m := range matrix.Misbehaviours() {
		_, after, found := strings.Cut(rest, "\n| "+m.Name+" | ")
		require.True(t, found, "docs/faults.md lacks the rate of %q", m.Name)
		rest = after
	}
	require.NotContains(t, rest, "\n|", "docs/faults.md has rows that are no longer played")

	mod, err := os.ReadFile("../../../go.mod")
	require.NoError(t, err)
	const sdk = "github.com/momentohq/client-sdk-go "
	_, version, _ := strings.Cut(string(mod), sdk)
	version, _, _ = strings.Cut(version, "\n")
	require.Contains(t, string(doc), sdk+strings.Fields(version)[0])
}

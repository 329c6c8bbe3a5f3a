package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/internal/fleet/run"
)

// The processes of the test are this program, as those of the fleet are the fleet.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "fleet-") {
		main()
	}
	os.Exit(m.Run())
}

func TestFleet(t *testing.T) {
	for _, how := range []string{"", "-abrupt -shared"} {
		t.Run(how, func(t *testing.T) {
			var out strings.Builder
			args := strings.Fields("-processes 2 -viewers 50 -topics 3 -rate 20 -idle 100ms -steady 500ms " + how)
			require.NoError(t, run.Run(t.Context(), momentoEngine(), args, &out, os.Stderr), "what viewers got is checked")
			require.Contains(t, out.String(), "idle 6, steady 6,", "each process has one stream per topic")
			require.Contains(t, out.String(), "; 0 viewers were told wrong")
			t.Log("\n" + out.String())
		})
	}
}

package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	for _, c := range []struct{ name, args string }{
		{"memory", "-every 1ms"},
		{"momento", "-every 1ms -backend momento -local"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
			defer stop()
			stdout, out := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, strings.Fields(c.args)...), out, io.Discard)
				out.CloseWithError(err)
				ended <- err
			}()
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err)
			url := strings.TrimSpace(strings.TrimPrefix(line, "open "))

			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			get := func(after string) *reader {
				res, err := client.Get(url + "/events/quotes" + after)
				require.NoError(t, err)
				t.Cleanup(func() { res.Body.Close() })
				require.Equal(t, http.StatusOK, res.StatusCode)
				return &reader{Scanner: bufio.NewScanner(res.Body)}
			}
			quote := func(r *reader) event {
				for {
					if e := r.next(t); e.id != "" && e.kind == "" {
						require.Contains(t, e.data, `"symbol":`)
						return e
					}
				}
			}
			viewer := get("")
			first, second := quote(viewer), quote(viewer)
			require.Equal(t, second, quote(get("?after="+first.id)), "a viewer returns where it was")

			stop()
			require.NoError(t, <-ended)
		})
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-backend pigeon", `-backend "pigeon": use memory or momento`},
		{"-backend momento", "-cache NAME, or -local"},
		{"-backend momento -cache c -local", "exclude each other"},
		{"-cache quotes", "need -backend momento"},
		{"-local", "need -backend momento"},
		{"-topics ,", "names none"},
		{"-hosts https://a.example", "not a host name"},
		{"-every -1s", "negative"},
		{"-nonsense", "not defined"},
		{"stray", `unexpected argument "stray"`},
	} {
		err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
		require.ErrorContains(t, err, c.want, c.args)
	}
	var usage strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, &usage))
	require.Contains(t, usage.String(), "-backend")
}

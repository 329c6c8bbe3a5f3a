package main

import (
	"net/http"

	"github.com/topicbus/pubsub/internal/hosts"
)

// guard refuses what no viewer sends: a name that is not ours in the header
// Host, by which a page of somebody else could read our topics, and a body.
// Nobody reads the body, so the connection is of no further use.
func guard(names hosts.Names, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if names.Check(w, r, "Start it with -hosts NAME.") {
			return
		}
		if r.ContentLength != 0 { // -1: of unknown length
			w.Header().Set("Connection", "close")
			http.Error(w, "Send no body.", http.StatusRequestEntityTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Package hosts keeps web pages of others away from a service that trusts its
// network.
//
// A page of evil.example can have its own name resolve to 127.0.0.1, or to an
// address inside a company. The browser then takes the service there for a part
// of the page, and hands it whatever the service answers: DNS rebinding. What
// gives it away is the header Host, which still says evil.example.
package hosts

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Names are the host names that a service answers to, besides localhost and the
// names below it. In them case does not matter, nor does a port.
type Names []string

// Parse reads names that are separated by commas.
func Parse(list string) (Names, error) {
	var names Names
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if strings.ContainsAny(name, "/*:? ") {
			return nil, fmt.Errorf("%q is not a host name, such as quotes.example.com", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// Allow reports whether a request with that Host may be answered. An address in
// place of a name always may: whoever opens an address gets the page that is
// there, and no other name stands in between. So may a request without Host,
// which no browser sends.
func (n Names) Allow(host string) bool {
	name := bare(host)
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return slices.ContainsFunc(n, func(allowed string) bool { return bare(allowed) == name })
}

// Check answers a request that Allow refuses, with 403, and reports whether
// there is nothing left to do.
func (n Names) Check(w http.ResponseWriter, r *http.Request, remedy string) (refused bool) {
	if n.Allow(r.Host) {
		return false
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "This service does not answer to the name in the header Host. "+remedy, http.StatusForbidden)
	return true
}

// bare is a Host without its port, brackets and final dot, in lower case.
func bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

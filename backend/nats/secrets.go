package nats

import (
	"iter"
	"net/url"
	"strings"

	natsgo "github.com/nats-io/nats.go"
)

// A server, or somebody in its place, may repeat what it was sent. What it was
// sent to say who the client is, is made known to options.foreign, which takes it
// out of texts. Seeds of keys are never sent, and not kept for that.

// knowUser makes known what a URL says about who the client is.
func (o *options) knowUser(u *url.Userinfo) {
	if u == nil {
		return
	}
	if password, ok := u.Password(); ok {
		o.foreign.Know(password)
		return
	}
	o.foreign.Know(u.Username()) // a name alone is a token
}

// knowConn makes known what a connection of the caller's was told to say, but
// for what functions of the caller's return.
func (o *options) knowConn(nc *natsgo.Conn) {
	for _, list := range append([]string{nc.Opts.Url}, nc.Opts.Servers...) {
		for u, err := range urls(list) {
			if err == nil {
				o.knowUser(u.User)
			}
		}
	}
	o.foreign.Know(nc.Opts.Password)
	o.foreign.Know(nc.Opts.Token)
}

// urls parses a list of URLs, as the client library does.
func urls(list string) iter.Seq2[*url.URL, error] {
	return func(yield func(*url.URL, error) bool) {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimSpace(one)
			if !strings.Contains(one, "://") {
				one = "nats://" + one
			}
			if !yield(url.Parse(one)) {
				return
			}
		}
	}
}

// userCredentials is natsgo.UserCredentials. Each JWT that it reads is made
// known.
func (o *options) userCredentials(path string) natsgo.Option {
	return func(n *natsgo.Options) error {
		if err := natsgo.UserCredentials(path)(n); err != nil {
			return err
		}
		read := n.UserJWT
		n.UserJWT = func() (string, error) {
			token, err := read()
			o.foreign.Know(token)
			return token, err
		}
		return nil
	}
}

package natstest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clusterSize is how many servers a Cluster has.
const clusterSize = 3

// Cluster is three servers that keep streams together: with three replicas a
// stream survives any one of them.
type Cluster struct {
	// Servers are the cluster's. Each may be stopped and started.
	Servers []*Server
}

// NewCluster starts a cluster in this process. It returns when the servers have
// chosen a leader. The caller owes a Close.
func NewCluster(opts ...Option) (*Cluster, error) {
	var ports []int
	var routes []*url.URL
	for range clusterSize {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	c := &Cluster{}
	for i, port := range ports {
		own := WithOptions(func(o *server.Options) {
			o.ServerName = fmt.Sprintf("server-%d", i+1)
			o.Cluster = server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: port}
			o.Routes = routes
		})
		s, err := NewServer(append(opts, own)...)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Servers = append(c.Servers, s)
	}
	for deadline := time.Now().Add(startTimeout); !c.ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("natstest: the cluster has no leader after %v", startTimeout), c.Close())
		}
	}
	return c, nil
}

// ready reports whether the servers have a leader that knows them all.
func (c *Cluster) ready() bool {
	for _, s := range c.Servers {
		if r := s.Server(); r != nil && r.JetStreamIsLeader() {
			return len(r.JetStreamClusterPeers()) == len(c.Servers)
		}
	}
	return false
}

// URL returns what clients connect to: all servers.
func (c *Cluster) URL() string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.URL())
	}
	return strings.Join(all, ",")
}

// Leader returns the server that leads a stream, nil if none does at present.
func (c *Cluster) Leader(stream string) *Server {
	for _, s := range c.Servers {
		if r := s.Server(); r != nil && r.JetStreamIsStreamLeader("$G", stream) {
			return s
		}
	}
	return nil
}

// Close stops the servers and removes their stores.
func (c *Cluster) Close() error {
	var errs []error
	for _, s := range c.Servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

package pipeline

import (
	"crypto/x509"
	"encoding/pem"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

// The metrics of what the daemon runs with: its configuration, the certificates
// in it, the other nodes, and its disk.
var (
	specConfigInfo  = Metric{"lbshipd_config_info", "gauge", []string{"hash"}, "Always 1; hash is that of the running configuration, the same on all nodes that have the same one."}
	specNotAfter    = Metric{"lbshipd_tls_bundle_not_after_timestamp_seconds", "gauge", []string{"bundle", "part"}, "When a TLS bundle's certificates expire, in Unix seconds. Part cert: that of the chain that is shown which expires first. Part ca: that of the trusted authorities which expires last."}
	specNotBefore   = Metric{"lbshipd_tls_bundle_not_before_timestamp_seconds", "gauge", []string{"bundle", "part"}, "Since when the certificate is valid that lbshipd_tls_bundle_not_after_timestamp_seconds tells of, in Unix seconds."}
	specKnown       = Metric{"lbshipd_collectors_known", "gauge", nil, "Nodes that have reported to etcd and were not forgotten, as this node saw it when it reported last. Absent without etcd."}
	specOnline      = Metric{"lbshipd_collectors_online", "gauge", nil, "Those of lbshipd_collectors_known that are alive. Absent without etcd."}
	specDataDirFree = Metric{"lbshipd_data_directory_free_bytes", "gauge", nil, "Disk space that is left to the daemon in the file system of its data directory."}
)

func configMetrics() []Metric {
	return []Metric{specConfigInfo, specNotAfter, specNotBefore, specKnown, specOnline, specDataDirFree}
}

// running shows which configuration runs, and until when its certificates are
// valid. What the one before had goes.
func (m *metrics) running(cfg *config.Config, hash string) {
	info, after, before := m.gauges[specConfigInfo.Name], m.gauges[specNotAfter.Name], m.gauges[specNotBefore.Name]
	info.Reset()
	after.Reset()
	before.Reset()
	info.WithLabelValues(hash).Set(1)
	for i := range cfg.TLSBundles {
		b := &cfg.TLSBundles[i]
		for part, of := range map[string]*x509.Certificate{"cert": soonest(b.CertPem), "ca": latest(b.CAPem)} {
			if of != nil {
				after.WithLabelValues(b.Name, part).Set(float64(of.NotAfter.Unix()))
				before.WithLabelValues(b.Name, part).Set(float64(of.NotBefore.Unix()))
			}
		}
	}
}

// soonest returns the certificate that expires first: a chain holds as long as
// all of it does. It returns nil if there is none.
func soonest(text string) *x509.Certificate {
	var found *x509.Certificate
	for c := range certificates(text) {
		if found == nil || c.NotAfter.Before(found.NotAfter) {
			found = c
		}
	}
	return found
}

// latest returns the certificate that expires last: while authorities are
// replaced, the old one is still beside the new one. It returns nil if there is none.
func latest(text string) *x509.Certificate {
	var found *x509.Certificate
	for c := range certificates(text) {
		if found == nil || c.NotAfter.After(found.NotAfter) {
			found = c
		}
	}
	return found
}

// certificates yields those in a PEM text that can be read.
func certificates(text string) func(func(*x509.Certificate) bool) {
	return func(yield func(*x509.Certificate) bool) {
		for rest := []byte(text); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if block.Type == "CERTIFICATE" && err == nil && !yield(c) {
				return
			}
		}
	}
}

// Collectors notes how many nodes have reported to where they all report, and how
// many of them are alive.
func (s *Supervisor) Collectors(known, online int) {
	s.metrics.gauge(specKnown).Set(float64(known))
	s.metrics.gauge(specOnline).Set(float64(online))
}

// sampleDisk shows what is left for positions, spools and dead letters.
func (s *Supervisor) sampleDisk() {
	if s.dataDir == "" {
		return
	}
	var st unix.Statfs_t
	if unix.Statfs(s.dataDir, &st) == nil {
		s.metrics.gauge(specDataDirFree).Set(float64(st.Bavail) * float64(st.Bsize))
	}
}

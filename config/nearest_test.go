package config

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"tls", "tcp", "udp", "octet-counting", "newline", "TLSBundle"}
	for name, want := range map[string]string{
		"tsl": "tls", "TLS": "tls", "tcpp": "tcp", "up": "udp", "octet_counting": "octet-counting", "octet": "octet-counting",
		"tls_bundle": "TLSBundle", "x": "", "": "", "quic": "", "newlines": "newline",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q is taken for %q, want %q", name, got, want)
		}
	}
}

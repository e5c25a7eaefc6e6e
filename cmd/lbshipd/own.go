package main

import (
	"os"
	"strings"

	"github.com/lbshipd/lbshipd/internal/ownfiles"
)

// ownFiles are the daemon's own files, which no source reads: whoever may write sources and
// targets (an editor) would have every secret that the daemon has. Those that objects name come with the configuration.
func ownFiles(o *runOptions) *ownfiles.Set {
	s := ownfiles.New()
	s.Keep("the data directory", o.dataDir)
	s.Keep("the configuration file", o.config)
	o.etcd.keep(s)
	s.Keep("the key of the admin port", o.auth.TLSKey)
	for _, at := range o.auth.Keys {
		if !strings.Contains(at, "://") {
			s.Keep("the keys of tokens", at)
		}
	}
	s.Keep("the directory of credentials", os.Getenv("CREDENTIALS_DIRECTORY"))
	return s
}

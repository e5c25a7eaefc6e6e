// Package buildinfo says what a program was built from.
package buildinfo

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// Unknown stands for what the build has not recorded.
const Unknown = "unknown"

// Info is what a program was built from.
type Info struct {
	Version string `json:"version"`
	// Commit is that of the sources, Unknown if they were in no repository.
	Commit string `json:"commit"`
	// Date is the commit's, RFC 3339, or Unknown: no time of the build is in the
	// program, so that two builds of a commit are the same.
	Date string `json:"date"`
	// Modified says that the sources were not those of the commit.
	Modified  bool     `json:"modified"`
	GoVersion string   `json:"goVersion"`
	Platform  string   `json:"platform"` // such as linux/amd64
	Tags      string   `json:"tags"`     // of the build, with commas
	CGO       bool     `json:"cgo"`
	Modules   []Module `json:"modules"`
}

// Module is a library in the program.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	// Sum is its checksum, as in go.sum; empty for what was replaced by a folder.
	Sum string `json:"sum,omitempty"`
}

// Read returns what this program was built from. version, commit and date are what
// the linker was told; what is empty is taken from what the compiler recorded.
func Read(version, commit, date string) Info {
	i := Info{Version: version, Commit: commit, Date: date, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Modules: []Module{}}
	if b, ok := debug.ReadBuildInfo(); ok {
		i.recorded(b)
	}
	i.Modified = i.Modified || strings.HasSuffix(i.Version, "dirty") // git describe --dirty
	i.Version, i.Commit, i.Date = cmp.Or(i.Version, "(devel)"), cmp.Or(i.Commit, Unknown), cmp.Or(i.Date, Unknown)
	return i
}

func (i *Info) recorded(b *debug.BuildInfo) {
	i.Version = cmp.Or(i.Version, b.Main.Version)
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = cmp.Or(i.Commit, s.Value)
		case "vcs.time":
			i.Date = cmp.Or(i.Date, s.Value)
		case "vcs.modified":
			i.Modified = s.Value == "true"
		case "-tags":
			i.Tags = s.Value
		case "CGO_ENABLED":
			i.CGO = s.Value == "1"
		}
	}
	for _, m := range b.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		i.Modules = append(i.Modules, Module{m.Path, m.Version, m.Sum})
	}
}

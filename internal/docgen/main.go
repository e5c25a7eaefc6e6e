// Command docgen writes the reference pages of docs/ from the code, so that
// what they say is what the code does.
//
//	go run ./internal/docgen         writes the pages
//	go run ./internal/docgen -check  fails if a page is not what it would write
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// page is one generated file.
type page struct {
	path  string                            // below the root of the module
	write func(root string) ([]byte, error) // returns its contents
}

// pages are all that is generated: one line each.
var pages = []page{
	{"docs/configuration.md", configuration},
	{"docs/metrics.md", metrics},
	{"docs/monitoring.md", monitoringPage},
	{"packaging/prometheus/lbshipd.rules.yml", rules},
	{"packaging/grafana/lbshipd-overview.json", overview},
	{"packaging/grafana/lbshipd-node.json", node},
	{"docs/rest.md", restPage},
	{"admin/rest/openapi.json", openapi},
	{"docs/doctor.md", doctorPage},
	{"cmd/lbshipd/ctl/fields.txt", fieldTexts},
}

func main() {
	check := flag.Bool("check", false, "write nothing, fail if a page is stale")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	var stale []error
	for _, p := range pages {
		text, err := p.write(root)
		if err != nil {
			return fmt.Errorf("making %s: %w", p.path, err)
		}
		file := filepath.Join(root, p.path)
		if !check {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				return err
			}
			continue
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, text) {
			stale = append(stale, fmt.Errorf("%s is stale: run go run ./internal/docgen", p.path))
		}
	}
	return errors.Join(stale...)
}

// moduleRoot returns the folder of go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not within the module: there is no go.mod above")
		}
	}
}

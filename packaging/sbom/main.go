// Command sbom writes a CycloneDX 1.5 bill of materials of a Go binary, out of
// what the compiler recorded in it: what is in the program, not what go.mod names.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// The parts of CycloneDX 1.5 that are used (https://cyclonedx.org/docs/1.5/json/).
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Ref        string     `json:"bom-ref"`
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Scope      string     `json:"scope,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licenses   []license  `json:"licenses,omitempty"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

func main() {
	version := flag.String("version", "", "version of the program (default: the main module's)")
	commit := flag.String("commit", "", "commit of the sources, which the compiler has recorded nothing of")
	committed := flag.String("date", "", "its date")
	epoch := flag.Int64("time", 0, "time of the bill, in seconds since 1970")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: sbom [-version V] [-time SECONDS] BINARY")
		os.Exit(2)
	}
	b, err := bill(flag.Arg(0), *version, time.Unix(*epoch, 0))
	if err == nil {
		b.from(*commit, *committed)
		err = write(os.Stdout, b)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, b *bom) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

// bill reads the binary. The same binary, version and time give the same bill.
func bill(path, version string, at time.Time) (*bom, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading what the compiler recorded in %s: %w", path, err)
	}
	if version == "" {
		version = info.Main.Version
	}
	digest := sha256.Sum256(data)
	b := &bom{Format: "CycloneDX", SpecVersion: "1.5", SerialNumber: serial(digest), Version: 1}
	b.Metadata = metadata{Timestamp: at.UTC().Format(time.RFC3339), Component: program(info, version, digest)}
	root := dependency{Ref: b.Metadata.Component.Ref}
	add := func(c component) {
		b.Components = append(b.Components, c)
		root.DependsOn = append(root.DependsOn, c.Ref)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
	}
	add(library("stdlib", strings.TrimPrefix(info.GoVersion, "go"), ""))
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		add(library(m.Path, m.Version, m.Sum))
	}
	b.Dependencies = append([]dependency{root}, b.Dependencies...)
	return b, nil
}

func program(info *debug.BuildInfo, version string, digest [sha256.Size]byte) component {
	c := component{Type: "application", Name: info.Main.Path, Version: version, PURL: purl(info.Main.Path, version)}
	c.Ref = c.PURL
	c.Hashes = []hash{{"SHA-256", hex.EncodeToString(digest[:])}}
	c.Licenses = make([]license, 1)
	c.Licenses[0].License.ID = "Apache-2.0"
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "CGO_ENABLED", "-tags":
			c.Properties = append(c.Properties, property{"golang:" + s.Key, s.Value})
		}
	}
	return c
}

// from adds what the program was made from.
func (b *bom) from(commit, date string) {
	c := &b.Metadata.Component
	for _, p := range []property{{"golang:vcs.revision", commit}, {"golang:vcs.time", date}} {
		if p.Value != "" {
			c.Properties = append(c.Properties, p)
		}
	}
}

func library(path, version, sum string) component {
	c := component{Type: "library", Name: path, Version: version, Scope: "required", PURL: purl(path, version)}
	c.Ref = c.PURL
	if sum != "" { // of a module's tree, as in go.sum: no hash of a file
		c.Properties = []property{{"golang:sum", sum}}
	}
	return c
}

// purl is a package URL (https://github.com/package-url/purl-spec).
func purl(path, version string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "pkg:golang/" + strings.Join(parts, "/") + "@" + url.QueryEscape(version)
}

// serial is a UUID that is the same for the same binary (RFC 9562 version 8).
func serial(digest [sha256.Size]byte) string {
	d := digest[:16]
	d[6] = d[6]&0x0f | 0x80
	d[8] = d[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", d[:4], d[4:6], d[6:8], d[8:10], d[10:16])
}

package config

import "errors"

// errNotYet stands where the functions of this file are still to be written.
var errNotYet = errors.New("not written yet")

// Assemble makes a Config of all objects that can be used together, with
// defaults, and says why the others cannot: those that have an Err, and those
// that name what is not there or cannot be used. An object that is rejected
// takes only those with it that cannot do without it.
func Assemble(objects []Stored) (*Config, []Rejected) { return nil, nil }

// Plan returns what objects become with the changes, all checked: conditions
// (ErrExists, ErrNotFound, ErrStale), each changed object (Problems), what it
// names and what names it (ErrReferenced), and all limits. What is wrong with
// objects that are not touched is no reason to refuse. Secrets that the draft
// gives as "(hidden)" keep their value, and so does a keyPem that is left out
// beside the same certPem. The Changes that come back have complete drafts,
// without those that change nothing.
func Plan(objects []Stored, changes []Change) (after []Stored, effective []Change, warnings Problems, err error) {
	return nil, nil, nil, errNotYet
}

// Diff says what the changes do, each as a unified diff of redacted YAML.
func Diff(before []Stored, changes []Change) []RevisionChange { return nil }

// ForNode returns the part of c that is for node: without sources and targets
// whose nodes and nodeSelector leave it out.
func (c *Config) ForNode(node Node) *Config { return c }

//go:build !appliance

package config

// NoFileSource says why this build cannot read files; empty, it can.
const NoFileSource = ""

package main

import "github.com/lbshipd/lbshipd/internal/monitoring"

// monitoringPage writes what the alerts mean, and what to do.
func monitoringPage(string) ([]byte, error) { return monitoring.Page(), nil }

// rules writes the alerts for Prometheus.
func rules(string) ([]byte, error) { return monitoring.RulesFile() }

// overview and node write the dashboards for Grafana.
func overview(string) ([]byte, error) { return monitoring.Overview(), nil }
func node(string) ([]byte, error)     { return monitoring.Node(), nil }

//! Authorisation of kubelets: what a node may read follows from the Pods that are bound to it.

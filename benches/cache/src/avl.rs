//! A balanced binary tree, as filters keep in a generic table: nodes in an arena, AVL heights.

use std::cmp::Ordering;

use siloscan_core::key::Key;

const NONE: u32 = u32::MAX;

struct Node {
    key: Key,
    /// Zero once removed; the node stays, which flatters the tree.
    value: u64,
    children: [u32; 2],
    height: u8,
}

pub struct Tree {
    nodes: Vec<Node>,
    root: u32,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            root: NONE,
        }
    }
}

impl Tree {
    pub fn get(&self, key: &Key) -> u64 {
        self.find(key).map_or(0, |at| self.nodes[at].value)
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(at) = self.find(key) {
            self.nodes[at].value = 0;
        }
    }

    pub fn put(&mut self, key: &Key, value: u64) {
        match self.find(key) {
            Some(at) => self.nodes[at].value = value,
            None => self.root = self.insert(self.root, key, value),
        }
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let mut at = self.root;
        while let Some(node) = self.nodes.get(at as usize) {
            at = match key.cmp(&node.key) {
                Ordering::Equal => return Some(at as usize),
                Ordering::Less => node.children[0],
                Ordering::Greater => node.children[1],
            };
        }
        None
    }

    fn insert(&mut self, at: u32, key: &Key, value: u64) -> u32 {
        let Some(node) = self.nodes.get(at as usize) else {
            self.nodes.push(Node {
                key: *key,
                value,
                children: [NONE; 2],
                height: 1,
            });
            return (self.nodes.len() - 1) as u32;
        };
        let side = usize::from(*key > node.key);
        let child = node.children[side];
        let child = self.insert(child, key, value);
        self.nodes[at as usize].children[side] = child;
        self.balance(at)
    }

    fn height(&self, at: u32) -> i32 {
        self.nodes
            .get(at as usize)
            .map_or(0, |node| i32::from(node.height))
    }

    fn lean(&self, at: u32) -> i32 {
        let [left, right] = self.nodes[at as usize].children;
        self.height(right) - self.height(left)
    }

    fn measure(&mut self, at: u32) {
        let [left, right] = self.nodes[at as usize].children;
        let height = 1 + self.height(left).max(self.height(right));
        self.nodes[at as usize].height = height as u8;
    }

    /// Lifts the child on `side` above its parent.
    fn rotate(&mut self, at: u32, side: usize) -> u32 {
        let child = self.nodes[at as usize].children[side];
        self.nodes[at as usize].children[side] = self.nodes[child as usize].children[1 - side];
        self.nodes[child as usize].children[1 - side] = at;
        self.measure(at);
        self.measure(child);
        child
    }

    fn balance(&mut self, at: u32) -> u32 {
        self.measure(at);
        let lean = self.lean(at);
        if lean.abs() < 2 {
            return at;
        }
        let side = usize::from(lean > 0);
        let child = self.nodes[at as usize].children[side];
        let inward = if side == 1 {
            self.lean(child) < 0
        } else {
            self.lean(child) > 0
        };
        if inward {
            let lifted = self.rotate(child, 1 - side);
            self.nodes[at as usize].children[side] = lifted;
        }
        self.rotate(at, side)
    }
}

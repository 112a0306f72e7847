// A program as users write it with `@kubernetes/client-node`: lists the Pods of its namespace, with nothing configured.
//
// Lists once for every line of standard input and says `PodList NAMES` or `CODE MESSAGE`.

import { createInterface } from 'node:readline';
import { ApiException, CoreV1Api, KubeConfig } from '@kubernetes/client-node';

const config = new KubeConfig();
config.loadFromCluster();
const api = config.makeApiClient(CoreV1Api);
const { namespace } = config.getContextObject(config.getCurrentContext());

for await (const _ of createInterface({ input: process.stdin })) {
    try {
        const pods = await api.listNamespacedPod({ namespace });
        console.log('PodList', ...pods.items.map((pod) => pod.metadata.name));
    } catch (refused) {
        if (!(refused instanceof ApiException)) throw refused;
        const status = typeof refused.body === 'string' ? JSON.parse(refused.body) : refused.body;
        console.log(refused.code, status.message);
    }
}

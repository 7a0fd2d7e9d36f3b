/* queue.c - bounded queue of pointers between threads, for pipelines. */
#include <pthread.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/threads.h"

struct tamis_queue {
    pthread_mutex_t lock;
    pthread_cond_t has_item, has_room;
    void **items; /* ring of capacity pointers */
    size_t capacity, n_items, i_first;
    bool is_closed;
};

tamis_status tamis_queue_new(int capacity, tamis_queue **out, tamis_error *err) {
    *out = NULL;
    tamis_queue *q = tamis_alloc_array(1, sizeof *q, err);
    if (!q) return TAMIS_NO_RESOURCE;
    q->capacity = capacity > 0 ? (size_t)capacity : 1;
    q->items = tamis_alloc_array(q->capacity, sizeof *q->items, err);
    if (!q->items) {
        free(q);
        return TAMIS_NO_RESOURCE;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->has_item, NULL);
    pthread_cond_init(&q->has_room, NULL);
    *out = q;
    return TAMIS_OK;
}

void tamis_queue_free(tamis_queue *queue) {
    if (!queue) return;
    pthread_cond_destroy(&queue->has_room);
    pthread_cond_destroy(&queue->has_item);
    pthread_mutex_destroy(&queue->lock);
    free(queue->items);
    free(queue);
}

bool tamis_queue_push(tamis_queue *queue, void *item) {
    pthread_mutex_lock(&queue->lock);
    while (!queue->is_closed && queue->n_items == queue->capacity)
        pthread_cond_wait(&queue->has_room, &queue->lock);
    bool is_taken = !queue->is_closed;
    if (is_taken) {
        queue->items[(queue->i_first + queue->n_items) % queue->capacity] = item;
        queue->n_items++;
        pthread_cond_signal(&queue->has_item);
    }
    pthread_mutex_unlock(&queue->lock);
    return is_taken;
}

bool tamis_queue_pop(tamis_queue *queue, void **out) {
    pthread_mutex_lock(&queue->lock);
    while (!queue->is_closed && queue->n_items == 0)
        pthread_cond_wait(&queue->has_item, &queue->lock);
    bool is_given = queue->n_items > 0;
    if (is_given) {
        *out = queue->items[queue->i_first];
        queue->i_first = (queue->i_first + 1) % queue->capacity;
        queue->n_items--;
        pthread_cond_signal(&queue->has_room);
    }
    pthread_mutex_unlock(&queue->lock);
    return is_given;
}

void tamis_queue_close(tamis_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->is_closed = true;
    pthread_cond_broadcast(&queue->has_item);
    pthread_cond_broadcast(&queue->has_room);
    pthread_mutex_unlock(&queue->lock);
}
